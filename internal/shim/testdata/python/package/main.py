from .word import WORD


def handle(request):
    return WORD
