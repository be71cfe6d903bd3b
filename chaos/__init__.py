"""The promises, checked while everything around the processes breaks: nothing lost, paid twice or stuck."""
