"""How long HAI takes beside its peers, on a quiet machine."""
