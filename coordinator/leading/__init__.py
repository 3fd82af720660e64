"""Who of several coordinators of one state leads."""
