package redis_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/internal/redisserver"
	goredis "github.com/redis/go-redis/v9"
)

// secureFixture is a server that speaks TLS on a second port.
type secureFixture struct {
	*fixture
	secureAddr string
	roots      *x509.CertPool
}

func newSecureFixture(t *testing.T) *secureFixture {
	t.Helper()
	cert, key, roots := certificate(t)
	f := &secureFixture{fixture: &fixture{t: t, log: &logBuffer{}}, roots: roots}
	var err error
	for range 4 { // The second port may be taken.
		l, listenErr := net.Listen("tcp", "127.0.0.1:0")
		f.check(listenErr)
		f.secureAddr = l.Addr().String()
		_, port, splitErr := net.SplitHostPort(f.secureAddr)
		f.check(splitErr)
		f.check(l.Close())
		f.server, err = redisserver.Start(t.Context(), "--tls-port", port, "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", cert, "--tls-auth-clients", "no")
		if err == nil {
			break
		}
	}
	f.check(err)
	t.Cleanup(func() { f.check(f.server.Close()) })
	f.client = goredis.NewClient(&goredis.Options{Addr: f.server.Addr})
	t.Cleanup(func() { f.check(f.client.Close()) })
	return f
}

// certificate makes a certificate for the loopback address that signs itself.
func certificate(t *testing.T) (certFile, keyFile string, roots *x509.CertPool) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "events test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	must(err)
	cert, err := x509.ParseCertificate(der)
	must(err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	must(err)
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	must(os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	must(os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
	roots = x509.NewCertPool()
	roots.AddCert(cert)
	return certFile, keyFile, roots
}

func TestAServerWhoseCertificateIsNotTrustedIsNotPublishedTo(t *testing.T) {
	t.Parallel()
	f := newSecureFixture(t)
	client := goredis.NewClient(&goredis.Options{Addr: f.secureAddr, TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12}, MaxRetries: -1, DialerRetries: 1})
	t.Cleanup(func() { f.check(client.Close()) })
	err := f.publisher(client).Publish("t", message.NewMessage("1", nil))
	if failed := reported(t, err); len(failed) != 1 || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("publish: %v", err)
	}
}
