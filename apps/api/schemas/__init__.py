"""Request and response bodies as the OpenAPI page shows them."""
