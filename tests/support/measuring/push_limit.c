/* SPDX-License-Identifier: (Apache-2.0 OR MIT)
 *
 * The limit of a cold push: sends prepared blobs and manifests to a registry (plain http) in the requests that a push
 * makes, and does nothing else. Five requests a package: POST and PUT for its layer, POST and PUT for its config, PUT
 * for its manifest; all layers first.
 *
 *     push_limit HOST PORT NAME CONNECTIONS PLAN
 *
 * Lines of PLAN: "blob DIGEST FILE", "wait" (for all lines before), "image DIGEST FILE TAG TYPE FILE" (config, manifest).
 */
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define LONGEST 8192

struct line { char *digest, *file, *tag, *type, *manifest; };

static const char *host, *port, *name;
static struct line *lines;
static int count, next_line, last_line;
static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;

static void fail(const char *what, const char *detail) {
    fprintf(stderr, "push_limit: %s: %s\n", what, detail);
    exit(1);
}

static int connected(void) {
    struct addrinfo wanted = {.ai_socktype = SOCK_STREAM}, *found;
    int one = 1, fd;
    if (getaddrinfo(host, port, &wanted, &found)) fail("no such host", host);
    fd = socket(found->ai_family, SOCK_STREAM, 0);
    if (connect(fd, found->ai_addr, found->ai_addrlen)) fail("cannot connect", host);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    freeaddrinfo(found);
    return fd;
}

static void send_all(int fd, const char *data, size_t size) {
    while (size) {
        ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
        if (sent <= 0) fail("sending", "the connection was lost");
        data += sent, size -= sent;
    }
}

/* One request; the path of the response's Location, if it has one, goes to `location`. */
static void request(int fd, const char *method, const char *path, const char *type, const char *file, int wanted,
                    char *location) {
    char head[LONGEST], answer[LONGEST + 1], *end = NULL, *field;
    struct stat found = {0};
    int body = -1, used = 0, length;
    if (file && ((body = open(file, O_RDONLY)) < 0 || fstat(body, &found))) fail("reading", file);
    length = snprintf(head, sizeof head, "%s %s HTTP/1.1\r\nHost: %s:%s\r\nContent-Type: %s\r\nContent-Length: %lld\r\n\r\n",
                      method, path, host, port, type, (long long)found.st_size);
    if (length >= (int)sizeof head) fail("too long", path);
    send_all(fd, head, length);
    for (off_t done = 0; done < found.st_size;)
        if (sendfile(fd, body, &done, found.st_size - done) <= 0) fail("sending", file);
    if (body >= 0) close(body);
    while (!end) {
        ssize_t got = recv(fd, answer + used, LONGEST - used, 0);
        if (got <= 0) fail("no answer to", path);
        used += got, answer[used] = 0;
        end = strstr(answer, "\r\n\r\n");
    }
    if (atoi(answer + 9) != wanted) fail(path, answer);
    long left = 0;
    if (location) *location = 0;
    for (field = strstr(answer, "\r\n"); field && field < end; field = strstr(field + 2, "\r\n")) {
        if (!strncasecmp(field + 2, "content-length:", 15)) left = atol(field + 17);
        if (location && !strncasecmp(field + 2, "location:", 9)) {
            char *value = field + 11 + strspn(field + 11, " ");
            if (*value != '/' && (value = strstr(value, "://"))) value = strchr(value + 3, '/');
            snprintf(location, LONGEST, "%.*s", (int)strcspn(value, "\r"), value);
        }
    }
    for (left -= used - (end + 4 - answer); left > 0;) {
        ssize_t got = recv(fd, answer, left < LONGEST ? left : LONGEST, 0);
        if (got <= 0) fail("no answer to", path);
        left -= got;
    }
}

static void put_blob(int fd, const char *digest, const char *file) {
    char path[LONGEST], location[LONGEST], closing[LONGEST + 128];
    snprintf(path, sizeof path, "/v2/%s/blobs/uploads/", name);
    request(fd, "POST", path, "application/octet-stream", NULL, 202, location);
    snprintf(closing, sizeof closing, "%s%cdigest=%s", location, strchr(location, '?') ? '&' : '?', digest);
    request(fd, "PUT", closing, "application/octet-stream", file, 201, NULL);
}

static void *work(void *unused) {
    char path[LONGEST];
    int fd = connected();
    for (;;) {
        pthread_mutex_lock(&guard);
        struct line *line = next_line < last_line ? &lines[next_line++] : NULL;
        pthread_mutex_unlock(&guard);
        if (!line) break;
        put_blob(fd, line->digest, line->file);
        if (line->tag) {
            snprintf(path, sizeof path, "/v2/%s/manifests/%s", name, line->tag);
            request(fd, "PUT", path, line->type, line->manifest, 201, NULL);
        }
    }
    close(fd);
    return unused;
}

static void run(int connections) {
    pthread_t threads[64];
    for (int i = 0; i < connections; i++) pthread_create(&threads[i], NULL, work, NULL);
    for (int i = 0; i < connections; i++) pthread_join(threads[i], NULL);
}

int main(int argc, char **argv) {
    char text[LONGEST], kind[16], digest[256], file[4096], tag[256], type[256], manifest[4096];
    if (argc != 6) fail("usage", "push_limit HOST PORT NAME CONNECTIONS PLAN");
    host = argv[1], port = argv[2], name = argv[3];
    int connections = atoi(argv[4]);
    FILE *plan = fopen(argv[5], "r");
    if (!plan || connections < 1 || connections > 64) fail("usage", argv[5]);
    while (fgets(text, sizeof text, plan)) {
        int fields = sscanf(text, "%15s %255s %4095s %255s %255s %4095s", kind, digest, file, tag, type, manifest);
        if (!strcmp(kind, "wait")) {
            last_line = count;
            run(connections);
            continue;
        }
        lines = realloc(lines, (count + 1) * sizeof *lines);
        struct line one = {strdup(digest), strdup(file), NULL, NULL, NULL};
        if (fields == 6) one.tag = strdup(tag), one.type = strdup(type), one.manifest = strdup(manifest);
        lines[count++] = one;
    }
    last_line = count;
    run(connections);
    return 0;
}
