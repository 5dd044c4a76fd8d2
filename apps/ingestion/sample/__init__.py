"""The sample corpus that `dtrag quickstart` ingests, and questions about it; data only."""
