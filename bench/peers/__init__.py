"""The peers: other engines and a common receiver, doing the same durable work. They need the extra `bench`."""
