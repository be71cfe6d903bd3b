"""What people use instead, doing the same durable work; needs the extra `bench`."""
