"""The words of the product: frozen values and ports, plain Python."""
