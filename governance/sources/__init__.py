"""Where data may come from besides an upload: a folder, a prefix of a bucket, a query.

The operator names each source in the environment, with its address and credentials; a steward picks
one by name and says which files or which query. So nobody who works with data holds a password of
another system or points this one at an address of their choice. What a source yields is sealed as
it streams in, like an upload.
"""
