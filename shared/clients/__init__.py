"""What two services use of the outside."""
