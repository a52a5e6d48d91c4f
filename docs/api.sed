# Names and headers in docs/api.md and docs/concepts.md become links in the pages that doxygen makes of them; it fails where there is none.
s/`((([a-z_]+)::)+[a-z_0-9]+)`/\\ref diem::\1 "\1"/g
s/\\ref diem::diem::([a-z_0-9]+) "[^"]*"/\\ref diem::\1 "\1"/g
s/`(([a-z_]+\/)?[a-z_0-9]+\.(hpp|cuh))`/\\ref \1 "\1"/g
