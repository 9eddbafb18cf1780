"""State that outlives a request and is no record: whose the things are that providers store. One file each."""
