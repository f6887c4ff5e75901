"""How large something is once it is encoded."""


def utf8_length(text: str) -> int:
    """Returns how many bytes a text takes in UTF-8; half of a surrogate pair counts as three."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
