"""This room holds the product version, which every request announces in its User-Agent."""

__version__ = "0.1.0"
