package probe

import (
	"crypto/tls"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"vipd/internal/health"
	"vipd/internal/need"
)

// The keys are OpenSSL's own, in each form that it writes.
func TestKeysThatOpenSSLHasEncryptedAreOpenedWithTheirPassword(t *testing.T) {
	openssl := need.Tool(t, "openssl")
	dir := t.TempDir()
	run := func(args ...string) {
		t.Helper()
		if out, err := exec.Command(openssl, args...).CombinedOutput(); err != nil {
			t.Fatalf("openssl %s: %v: %s", strings.Join(args, " "), err, out)
		}
	}
	plain, cert := filepath.Join(dir, "plain"), filepath.Join(dir, "cert")
	run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", plain, "-out", cert, "-subj", "/CN=director", "-days", "2")
	for name, args := range map[string][]string{
		"PKCS 8, AES":         {"pkcs8", "-topk8", "-v2", "aes-256-cbc"},
		"PKCS 8, AES, SHA512": {"pkcs8", "-topk8", "-v2", "aes-128-cbc", "-v2prf", "hmacWithSHA512"},
		"PKCS 8, 3DES":        {"pkcs8", "-topk8", "-v2", "des3", "-v2prf", "hmacWithSHA1"},
		"traditional, AES":    {"rsa", "-traditional", "-aes128"},
	} {
		t.Run(name, func(t *testing.T) {
			key := filepath.Join(dir, strings.ReplaceAll(name, " ", ""))
			run(append(args, "-in", plain, "-out", key, "-passout", "pass:secret")...)
			var config tls.Config
			files := &health.TLS{Certificate: cert, Key: key, Password: "secret"}
			if err := clientCertificate(t.Context(), &config, files); err != nil || len(config.Certificates) != 1 {
				t.Fatalf("%v, %d certificates", err, len(config.Certificates))
			}
			for _, wrong := range []string{"", "Secret"} {
				files.Password = wrong
				if err := clientCertificate(t.Context(), &config, files); err == nil {
					t.Errorf("password %q opened it", wrong)
				}
			}
		})
	}
}

func FuzzDecryptPKCS8(f *testing.F) {
	text, err := os.ReadFile("testdata/encrypted.key")
	if err != nil {
		f.Fatal(err)
	}
	block, _ := pem.Decode(text)
	f.Add(block.Bytes)
	f.Fuzz(func(t *testing.T, der []byte) {
		_, _ = decryptPKCS8(der, "secret")
	})
}
