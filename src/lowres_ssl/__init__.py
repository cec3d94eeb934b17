"""lowres-ssl: what does self-supervised pre-training on a small medical image set buy, and how sure can one be?"""

__version__ = "0.1.0"
