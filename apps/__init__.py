"""DT-RAG: a self-hosted answer service for documents in Korean and English."""
