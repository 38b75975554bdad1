"""A booklet in which readers mark zones and judge regions, blind to the network's answer. No statistics here.

case     an X-ray file -> what the booklet shows of it
answers  what the network said of all cases, kept apart from the booklet
booklet  cases -> one HTML file that works offline
folder   images -> both files
"""
