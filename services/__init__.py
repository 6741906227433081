"""The four processes of Stet; they meet only on Kafka."""
