/* What Python may see of nflog.h. */
#define NFLOG_RECORD_HEADER ...
#define NFLOG_SNAPLEN_MAX ...
#define NFLOG_METADATA_MAX ...
#define NFLOG_CAPACITY_MIN ...
#define NFLOG_NLBUFSIZ_MIN ...
#define NFLOG_NLBUFSIZ_MAX ...

struct nflog_counts {
    uint64_t received;
    uint64_t missed;
    uint64_t not_ip;
    uint64_t stamped_by_kernel;
    uint64_t stamped_here;
    uint64_t gaps;
    uint64_t malformed;
    uint64_t datagrams;
    uint64_t truncated;
    uint64_t overruns;
    ...;
};

struct nflog_group {
    uint16_t id;
    uint32_t next_seq;
    ...;
};

struct nflog_parser {
    struct nflog_counts counts;
    struct nflog_group *groups;
    size_t groups_count;
    uint32_t linktype;
    ...;
};

struct nflog_options {
    uint32_t nlbufsiz;
    uint32_t qthreshold;
    uint32_t qtimeout_cs;
    uint32_t snaplen;
    ...;
};

struct nflog_socket;

size_t nflog_parse(struct nflog_parser *parser, const uint8_t *datagram,
                   size_t length, uint64_t now_ns, uint8_t *out, size_t capacity,
                   size_t *used);

struct nflog_socket *nflog_socket_open(uint32_t linktype);
void nflog_socket_close(struct nflog_socket *sock);
int nflog_socket_fd(const struct nflog_socket *sock);
uint32_t nflog_socket_portid(const struct nflog_socket *sock);
int nflog_socket_rcvbuf(struct nflog_socket *sock, int wanted, int *forced);
int nflog_socket_bind(struct nflog_socket *sock, uint16_t group,
                      const struct nflog_options *options);
int nflog_socket_unbind(struct nflog_socket *sock, uint16_t group);
const struct nflog_counts *nflog_socket_counts(const struct nflog_socket *sock);
int64_t nflog_socket_drops(const struct nflog_socket *sock);
int64_t nflog_socket_drops_revealed(const struct nflog_socket *sock);

int nflog_socket_read(struct nflog_socket *sock, uint8_t *out, size_t capacity,
                      size_t *used, int64_t deadline_ns);
