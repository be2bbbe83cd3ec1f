"""What forges send, one pure file a forge: verify the signature, then normalise. No I/O."""
