package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"vipd/internal/health"
)

// verify has a handshake look at the certificate as v wants it. name is the host that is asked for; if empty, the certificate
// may be of any. When it ends is put into note, and a warning when that is not bad enough for a failure.
func verify(ctx context.Context, config *tls.Config, v *health.Verify, name string, note *health.Result) {
	if v == nil {
		return
	}
	config.VerifyConnection = func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) == 0 {
			return errors.New("the server shows no certificate")
		}
		leaf := state.PeerCertificates[0]
		note.Ends = leaf.NotAfter
		if v.Chain {
			if err := chain(ctx, state.PeerCertificates, v.CA, name); err != nil {
				return err
			}
		}
		if left := time.Until(leaf.NotAfter); v.Expiry > 0 && left < v.Expiry {
			note.Warning = ending(leaf, left)
		}
		return nil
	}
}

func ending(leaf *x509.Certificate, left time.Duration) string {
	who := leaf.Subject.CommonName
	if len(leaf.DNSNames) > 0 {
		who = leaf.DNSNames[0]
	}
	at := leaf.NotAfter.UTC().Format(time.DateOnly)
	if left < 0 {
		return fmt.Sprintf("the certificate of %.60q has ended on %s", who, at)
	}
	return fmt.Sprintf("the certificate of %.60q ends on %s, in %d days", who, at, int(left/(24*time.Hour)))
}

// noted is a result with what the certificate told.
func noted(res, note health.Result) health.Result {
	res.Ends, res.Warning = note.Ends, note.Warning
	return res
}

func chain(ctx context.Context, shown []*x509.Certificate, ca, name string) error {
	opts := x509.VerifyOptions{DNSName: name, Intermediates: x509.NewCertPool()}
	if ca != "" {
		text, err := fileOf(ctx, ca)
		if err != nil {
			return &setupError{"tls_ca", err}
		}
		if opts.Roots = x509.NewCertPool(); !opts.Roots.AppendCertsFromPEM(text) {
			return &setupError{"tls_ca", fmt.Errorf("%s has no certificate", ca)}
		}
	}
	for _, c := range shown[1:] {
		opts.Intermediates.AddCert(c)
	}
	_, err := shown[0].Verify(opts)
	return err
}
