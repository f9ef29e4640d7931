"""AFTER THE CHOICE: the winner as a folder that explains itself and answers new rows."""
