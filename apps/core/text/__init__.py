"""Tokens, sentences, languages and personal data in Korean and English text."""
