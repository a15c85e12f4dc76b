"""Network definitions written with the graph builder, for published weights that come as a plain state dict."""

from .efficientnet_lite import efficientnet_lite0

__all__ = ["efficientnet_lite0"]
