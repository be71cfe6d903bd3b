"""The three promises, held while everything around them breaks: nothing lost, nothing paid twice, nothing stuck."""
