"""The winner behind an OpenAI-compatible server on this machine, and fine-tuning jobs where they are asked for."""
