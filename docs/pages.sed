# What GitHub shows and doxygen does not: a link to a heading of another page leads to that page, and pictures are found from notes, too.
s/(\]\([^)#]+\.md)#[^)]*\)/\1)/g
s/\]\([.][.]\/figures\//](figures\//g
