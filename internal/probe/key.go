package probe

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"hash"

	"vipd/internal/health"
)

// clientCertificate loads the files of the SSL block.
func clientCertificate(ctx context.Context, config *tls.Config, files *health.TLS) error {
	if files == nil || files.Certificate == "" || files.Key == "" {
		return nil
	}
	pair, err := keyPair(ctx, files)
	if err != nil {
		return fmt.Errorf("SSL block: %w", err)
	}
	config.Certificates = []tls.Certificate{pair}
	return nil
}

func keyPair(ctx context.Context, files *health.TLS) (tls.Certificate, error) {
	chain, err := fileOf(ctx, files.Certificate)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := fileOf(ctx, files.Key)
	if err != nil {
		return tls.Certificate{}, err
	}
	if key, err = plainKey(key, files.Password); err != nil {
		return tls.Certificate{}, fmt.Errorf("key %s: %w", files.Key, err)
	}
	return tls.X509KeyPair(chain, key)
}

var errPassword = errors.New("it cannot be decrypted: the password is wrong or missing")

// plainKey decrypts the private keys of a PEM file that are encrypted, in either form that OpenSSL writes.
func plainKey(text []byte, password string) (out []byte, err error) {
	for rest := text; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return out, nil
		}
		switch {
		case block.Type == "ENCRYPTED PRIVATE KEY":
			block.Type = "PRIVATE KEY"
			block.Bytes, err = decryptPKCS8(block.Bytes, password)
		case x509.IsEncryptedPEMBlock(block): //nolint:staticcheck // RFC 1423's form is weak, and it is what is there
			block.Bytes, err = x509.DecryptPEMBlock(block, []byte(password)) //nolint:staticcheck
			if err != nil {
				err = errPassword
			}
			block.Headers = nil
		}
		if err != nil {
			return nil, err
		}
		out = append(out, pem.EncodeToMemory(block)...)
	}
}

// RFC 5958 3, RFC 8018 A.4 and A.2.
type (
	encryptedKey struct {
		Algorithm pkix.AlgorithmIdentifier
		Data      []byte
	}
	pbes2 struct {
		KeyDerivation, Encryption pkix.AlgorithmIdentifier
	}
	pbkdf2Params struct {
		Salt       []byte
		Iterations int
		KeyLength  int                      `asn1:"optional"`
		PRF        pkix.AlgorithmIdentifier `asn1:"optional"`
	}
)

var (
	oidPBES2  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}
	oidPBKDF2 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}
	// RFC 8018 A.2: "DEFAULT algid-hmacWithSHA1".
	prfs = map[string]func() hash.Hash{"": sha1.New, "1.2.840.113549.2.7": sha1.New, "1.2.840.113549.2.9": sha256.New,
		"1.2.840.113549.2.10": sha512.New384, "1.2.840.113549.2.11": sha512.New}
	ciphers = map[string]struct {
		key int
		new func([]byte) (cipher.Block, error)
	}{
		"2.16.840.1.101.3.4.1.2":  {16, aes.NewCipher},
		"2.16.840.1.101.3.4.1.22": {24, aes.NewCipher},
		"2.16.840.1.101.3.4.1.42": {32, aes.NewCipher},
		"1.2.840.113549.3.7":      {24, des.NewTripleDESCipher},
	}
)

// maxIterations bounds the time that a key file may cost.
const maxIterations = 1_000_000

// decryptPKCS8 opens an EncryptedPrivateKeyInfo that PBES2 made with PBKDF2 and a block cipher in CBC mode.
func decryptPKCS8(der []byte, password string) ([]byte, error) {
	var info encryptedKey
	var scheme pbes2
	var derive pbkdf2Params
	var iv []byte
	if _, err := asn1.Unmarshal(der, &info); err != nil {
		return nil, fmt.Errorf("it is no encrypted key: %w", err)
	}
	if !info.Algorithm.Algorithm.Equal(oidPBES2) {
		return nil, fmt.Errorf("its encryption %s is not known; expected PBES2", info.Algorithm.Algorithm)
	}
	if _, err := asn1.Unmarshal(info.Algorithm.Parameters.FullBytes, &scheme); err != nil {
		return nil, fmt.Errorf("PBES2: %w", err)
	}
	if !scheme.KeyDerivation.Algorithm.Equal(oidPBKDF2) {
		return nil, fmt.Errorf("its key derivation %s is not known; expected PBKDF2", scheme.KeyDerivation.Algorithm)
	}
	if _, err := asn1.Unmarshal(scheme.KeyDerivation.Parameters.FullBytes, &derive); err != nil {
		return nil, fmt.Errorf("PBKDF2: %w", err)
	}
	prf, known := prfs[derive.PRF.Algorithm.String()]
	how, ok := ciphers[scheme.Encryption.Algorithm.String()]
	if _, err := asn1.Unmarshal(scheme.Encryption.Parameters.FullBytes, &iv); err != nil || !known || !ok {
		return nil, fmt.Errorf("its cipher %s is not known; expected AES in CBC mode", scheme.Encryption.Algorithm)
	}
	if derive.Iterations < 1 || derive.Iterations > maxIterations {
		return nil, fmt.Errorf("PBKDF2: %d iterations, expected 1 to %d", derive.Iterations, maxIterations)
	}
	key, err := pbkdf2.Key(prf, password, derive.Salt, derive.Iterations, how.key)
	if err != nil {
		return nil, fmt.Errorf("PBKDF2: %w", err)
	}
	block, err := how.new(key)
	if err != nil || len(iv) != block.BlockSize() || len(info.Data) == 0 || len(info.Data)%block.BlockSize() != 0 {
		return nil, errors.New("it is damaged")
	}
	plain := make([]byte, len(info.Data))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plain, info.Data)
	// RFC 8018 6.1.1: the padding is n bytes of value n.
	n := int(plain[len(plain)-1])
	if n < 1 || n > block.BlockSize() || !bytes.HasSuffix(plain, bytes.Repeat([]byte{byte(n)}, n)) {
		return nil, errPassword
	}
	return plain[:len(plain)-n], nil
}
