"""What rules decides: chains, whom they concern, the messages and writes that follow. Pure: no database, no clock."""
