"""What the detector finds and misses: labeled sets, scores, and how sure the scores are.

labels      the labeled row, read and written a line at a time
drawing     seeded draws, and numbers whose check digit is right and whose owner is nobody
fakes       one line an entity: how it is made, what a column or a sentence calls it
scenes      sentences that people write, with places for what is personal
disguises   full-width digits, invisible characters, separators
generating  a labeled set of our own
detecting   what the shipped detector reports of labeled rows
scoring     counts by language, shape and entity, and their intervals
measuring   from a labeled file to a stored measurement
"""
