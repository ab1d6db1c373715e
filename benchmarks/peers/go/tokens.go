package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"hash"
	"sync"
	"time"
)

const (
	accessSeconds  = 900
	refreshSeconds = 604800
)

var (
	encoding  = base64.RawURLEncoding.Strict()
	header    = encoding.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`))
	errNoGood = errors.New("not a token of ours, or not within its time")
)

// Claims are those of both kinds of token, which Type tells apart.
type Claims struct {
	Sub  string `json:"sub"`
	Type string `json:"type"`
	Sid  string `json:"sid"`
	Jti  string `json:"jti"`
	Iat  int64  `json:"iat"`
	Exp  int64  `json:"exp"`
}

// Tokens signs and verifies JWTs with HMAC and SHA-256 (RFC 7515).
type Tokens struct{ macs sync.Pool }

// NewTokens signs with this secret. An HMAC is made once and used again, since its key is hashed first.
func NewTokens(secret string) *Tokens {
	return &Tokens{sync.Pool{New: func() any { return hmac.New(sha256.New, []byte(secret)) }}}
}

func (tokens *Tokens) sign(text []byte) []byte {
	mac := tokens.macs.Get().(hash.Hash)
	defer tokens.macs.Put(mac)
	mac.Reset()
	mac.Write(text)
	return mac.Sum(nil)
}

// Issue makes a token.
func (tokens *Tokens) Issue(claims Claims) string {
	payload, err := json.Marshal(claims)
	if err != nil {
		panic(err) // strings and numbers can be written
	}
	text := []byte(header + "." + encoding.EncodeToString(payload))
	return string(text) + "." + encoding.EncodeToString(tokens.sign(text))
}

// Verify reads a token of this type. Nothing in it is read before its signature is found good.
func (tokens *Tokens) Verify(kind, token string) (claims Claims, err error) {
	text := []byte(token)
	last := bytes.LastIndexByte(text, '.')
	first := bytes.IndexByte(text, '.')
	if first < 0 || first == last || string(text[:first]) != header {
		return claims, errNoGood
	}
	signature, err := encoding.DecodeString(token[last+1:])
	if err != nil || !hmac.Equal(signature, tokens.sign(text[:last])) {
		return claims, errNoGood
	}
	payload, err := encoding.DecodeString(token[first+1 : last])
	if err != nil || json.Unmarshal(payload, &claims) != nil {
		return claims, errNoGood
	}
	if claims.Type != kind || claims.Exp <= time.Now().Unix() {
		return claims, errNoGood
	}
	return claims, nil
}

func newID() string {
	var random [16]byte
	if _, err := rand.Read(random[:]); err != nil {
		panic(err)
	}
	return encoding.EncodeToString(random[:])
}

// successorOf is the same for whoever asks.
func successorOf(jti string) string {
	digest := sha256.Sum256([]byte(jti))
	return encoding.EncodeToString(digest[:16])
}
