"""Pretrained bases, the engines that run them, and the heads put on them."""
