from . import ORIGIN

WORD = f"from {ORIGIN} and its word"
