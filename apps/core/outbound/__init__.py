"""The one way out to addresses that people name: a guard against forged requests."""
