from lowres_ssl.inference.api import embed as embed
from lowres_ssl.inference.api import load_encoder as load_encoder
from lowres_ssl.inference.api import predict as predict

__version__: str
