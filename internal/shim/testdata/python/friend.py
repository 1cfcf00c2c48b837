def fail():
    return 1 / 0
