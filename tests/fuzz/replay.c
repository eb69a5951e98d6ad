/* Stands in for libFuzzer in normal builds: runs every file of the directory given, so that what was
 * once found stays fixed. An empty or unreadable corpus is a failure. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int run_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        return -1;
    }
    struct stat st;
    int rc = fstat(fileno(file), &st);
    /* Exactly as large as the input, so that a read beyond its end shows. */
    size_t size = rc == 0 ? (size_t)st.st_size : 0;
    uint8_t *data = malloc(size != 0 ? size : 1);
    if (rc != 0 || data == NULL || fread(data, 1, size, file) != size) {
        fprintf(stderr, "%s: cannot be read\n", path);
        rc = -1;
    } else {
        LLVMFuzzerTestOneInput(data, size);
    }
    free(data);
    fclose(file);
    return rc;
}

int main(int argc, char **argv)
{
    DIR *dir = argc == 2 ? opendir(argv[1]) : NULL;
    if (dir == NULL) {
        fprintf(stderr, "usage: %s DIRECTORY (of inputs)\n", argv[0]);
        return 2;
    }
    unsigned runs = 0;
    int failed = 0;
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        char path[4096];
        if (entry->d_name[0] == '.') {
            continue;
        }
        snprintf(path, sizeof path, "%s/%s", argv[1], entry->d_name);
        fprintf(stderr, "%s\n", path); /* the last one named is the one that crashed */
        failed |= run_file(path) != 0;
        runs++;
    }
    closedir(dir);
    printf("%u inputs replayed\n", runs);
    return runs == 0 || failed ? 1 : 0;
}
