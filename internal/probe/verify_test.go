package probe

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vipd/internal/health"
)

// authority signs certificates of www.example.com for tests.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	file string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{file: filepath.Join(t.TempDir(), "ca.pem")}
	der := a.make(t, &x509.Certificate{Subject: pkix.Name{CommonName: "test authority"}, NotAfter: time.Now().AddDate(1, 0, 0), IsCA: true, BasicConstraintsValid: true}, nil)
	a.cert, _ = x509.ParseCertificate(der)
	if err := os.WriteFile(a.file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *authority) make(t *testing.T, template *x509.Certificate, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	if a.key == nil {
		var err error
		if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	template.SerialNumber, template.NotBefore = big.NewInt(time.Now().UnixNano()), time.Now().AddDate(0, 0, -100)
	parent, public := a.cert, &a.key.PublicKey
	if parent == nil {
		parent = template
	}
	if key != nil {
		public = &key.PublicKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// server shows a certificate that ends in some days.
func (a *authority) server(t *testing.T, days int) *httptest.Server {
	t.Helper()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{a.certificate(t, days)}}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv
}

// certificate is one of www.example.com that ends in some days and an hour.
func (a *authority) certificate(t *testing.T, days int) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der := a.make(t, &x509.Certificate{DNSNames: []string{"www.example.com"}, NotAfter: time.Now().Add(time.Duration(days)*24*time.Hour + time.Hour)}, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestCertificatesAreLookedAtWhereThatIsAskedFor(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	fresh, ending, ended := ours.server(t, 60), ours.server(t, 5), ours.server(t, -1)
	for name, c := range map[string]struct {
		server  *httptest.Server
		verify  *health.Verify
		host    string
		why     string // part of it; "" is good
		warning string
	}{
		"nobody looks":             {ended, nil, "www.example.com", "", ""},
		"as it should be":          {fresh, &health.Verify{Chain: true, CA: ours.file}, "www.example.com", "", ""},
		"with a port in the host":  {fresh, &health.Verify{Chain: true, CA: ours.file}, "www.example.com:8443", "", ""},
		"no host is asked for":     {fresh, &health.Verify{Chain: true, CA: ours.file}, "", "", ""},
		"another host":             {fresh, &health.Verify{Chain: true, CA: ours.file}, "api.example.com", "certificate is valid for www.example.com, not api.example.com", ""},
		"another authority":        {fresh, &health.Verify{Chain: true, CA: theirs.file}, "www.example.com", "certificate signed by unknown authority", ""},
		"the system's authorities": {fresh, &health.Verify{Chain: true}, "www.example.com", "certificate signed by unknown authority", ""},
		"it has ended":             {ended, &health.Verify{Chain: true, CA: ours.file}, "www.example.com", "certificate has expired", ""},
		"it ends soon":             {ending, &health.Verify{Chain: true, CA: ours.file, Expiry: 14 * 24 * time.Hour}, "www.example.com", "", "in 5 days"},
		"it does not end soon":     {fresh, &health.Verify{Expiry: 14 * 24 * time.Hour}, "www.example.com", "", ""},
		"ended, and only the end":  {ended, &health.Verify{Expiry: 14 * 24 * time.Hour}, "www.example.com", "", "has ended on"},
	} {
		t.Run(name, func(t *testing.T) {
			res := Run(t.Context(), pageOf(c.server, health.SSLGet, health.HTTP{VirtualHost: c.host, SNI: true, Verify: c.verify}, health.URL{Path: "/"}))
			if res.OK != (c.why == "") || !strings.Contains(res.Why, c.why) || !strings.Contains(res.Warning, c.warning) || (res.Warning == "") != (c.warning == "") {
				t.Errorf("%+v", res)
			}
			if (c.verify == nil) != res.Ends.IsZero() {
				t.Errorf("it ends %v", res.Ends)
			}
		})
	}
	res := Run(t.Context(), pageOf(fresh, health.SSLGet, health.HTTP{Verify: &health.Verify{Chain: true, CA: "/nowhere"}}, health.URL{Path: "/"}))
	if !res.Inconclusive || !strings.Contains(res.Why, "tls_ca") {
		t.Errorf("a CA file that is not there: %+v", res)
	}
}
