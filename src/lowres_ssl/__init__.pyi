from lowres_ssl.api import embed as embed
from lowres_ssl.api import load_encoder as load_encoder
from lowres_ssl.api import predict as predict

__version__: str
