/* SPDX-License-Identifier: MIT
 *
 * Bytes of drain-server's connections, with TLS or without. Plain libc and OpenSSL calls on blocking sockets: what gets a thread out of
 * them is the scope that it runs in. Only the end of a connection knows of unstick, because that is where bytes get lost.
 */
#include "drain.h"

#include <unistd.h>
#ifdef DRAIN_TLS
#include <openssl/ssl.h>
#include <openssl/x509.h>
#endif

enum { CLOSE_MS = 5000 }; /* for the peer to read what it was sent, and to close; at SIGTERM perhaps less */

/* ---- TLS ---- */

#ifdef DRAIN_TLS
static SSL_CTX *context;

static X509 *make_certificate(EVP_PKEY *key)
{
	X509 *certificate = X509_new();

	if (!certificate)
		return NULL;
	X509_NAME *name = X509_get_subject_name(certificate);
	bool good = X509_set_version(certificate, 2) && ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1) &&
	            X509_gmtime_adj(X509_getm_notBefore(certificate), 0) &&
	            X509_gmtime_adj(X509_getm_notAfter(certificate), 24L * 3600) && X509_set_pubkey(certificate, key) &&
	            X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"localhost", -1, -1, 0) &&
	            X509_set_issuer_name(certificate, name) && X509_sign(certificate, key, EVP_sha256());
	if (good)
		return certificate;
	X509_free(certificate);
	return NULL;
}

bool stream_prepare_tls(void)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *certificate = key ? make_certificate(key) : NULL;

	context = certificate ? SSL_CTX_new(TLS_server_method()) : NULL;
	bool good = context && SSL_CTX_use_certificate(context, certificate) == 1 && SSL_CTX_use_PrivateKey(context, key) == 1;
	X509_free(certificate); /* the context has references of its own */
	EVP_PKEY_free(key);
	return good;
}

bool stream_open(struct stream *stream)
{
	if (!stream->secure)
		return true;
	stream->tls = SSL_new(context);
	stream->broken = !stream->tls || SSL_set_fd(stream->tls, stream->fd) != 1 || SSL_accept(stream->tls) != 1;
	return !stream->broken;
}

static ssize_t read_secure(struct stream *stream, void *data, size_t size)
{
	size_t n;

	if (SSL_read_ex(stream->tls, data, size, &n) == 1)
		return (ssize_t)n;
	if (SSL_get_error(stream->tls, 0) == SSL_ERROR_ZERO_RETURN)
		return 0;
	stream->broken = true; /* a cut call: OpenSSL cannot be asked for anything afterwards */
	return -1;
}

static ssize_t write_secure(struct stream *stream, const void *data, size_t size)
{
	size_t n;

	if (SSL_write_ex(stream->tls, data, size, &n) == 1)
		return (ssize_t)n;
	stream->broken = true;
	return -1;
}

static void end_secure(struct stream *stream)
{
	if (stream->tls && !stream->broken)
		SSL_shutdown(stream->tls);
	SSL_free(stream->tls);
}
#else
bool stream_prepare_tls(void)
{
	return false;
}

bool stream_open(struct stream *stream)
{
	return !stream->secure;
}

static ssize_t read_secure(struct stream *stream, void *data, size_t size)
{
	(void)stream, (void)data, (void)size;
	return -1;
}

static ssize_t write_secure(struct stream *stream, const void *data, size_t size)
{
	(void)stream, (void)data, (void)size;
	return -1;
}

static void end_secure(struct stream *stream)
{
	(void)stream;
}
#endif

/* ---- Either ---- */

ssize_t stream_read(struct stream *stream, void *data, size_t size)
{
	return stream->secure ? read_secure(stream, data, size) : recv(stream->fd, data, size, 0);
}

bool stream_write(struct stream *stream, const void *data, size_t size)
{
	const char *next = data;

	while (size > 0) {
		ssize_t n = stream->secure ? write_secure(stream, next, size) : send(stream->fd, next, size, MSG_NOSIGNAL);
		if (n < 0)
			return false;
		/* A send() that is cut half-way returns what it has sent: that is counted, and the next one fails. */
		stream->written += (unsigned long long)n;
		next += n;
		size -= (size_t)n;
	}
	return true;
}

/* close() with input unread makes the kernel reset the connection, and throw away what the peer has not read yet. So first our end,
 * then all that the peer still sends, until its end. The thread may be in a scope that has fired, in which this could not be done: hence
 * the shield; and the peer may never end: hence a scope inside it. */
void stream_close(struct stream *stream)
{
	unstick_time until = unstick_after_ms(CLOSE_MS);
	struct unstick_scope scope;
	char unwanted[4096];

	if (until > server_close_until)
		until = server_close_until;
	unstick_shield_begin();
	unstick_scope_start(&scope, NULL, until);
	end_secure(stream);
	shutdown(stream->fd, SHUT_WR);
	while (recv(stream->fd, unwanted, sizeof(unwanted), 0) > 0)
		;
	int too_late = unstick_scope_end(&scope);
	(void)too_late; /* what can be done about it is what comes now */
	unstick_shield_end();
	close(stream->fd);
}
