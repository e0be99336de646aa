"""Helpers of the Fashion-MNIST VAE book: they read like its equations and never print."""
