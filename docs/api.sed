# Names in the tables of docs/api.md become links in the pages that doxygen makes of it, which fails where there is none.
/^[|]/ {
    s/`((([a-z_]+)::)+[a-z_0-9]+)`/\\ref diem::\1 "\1"/g
    s/\\ref diem::diem::([a-z_0-9]+) "[^"]*"/\\ref diem::\1 "\1"/g
    s/`(([a-z_]+\/)?[a-z_0-9]+\.(hpp|cuh))`/\\ref \1 "\1"/g
}
