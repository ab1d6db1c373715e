package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
)

func (s *service) pair(refresh Claims) any {
	now := time.Now().Unix()
	access := Claims{refresh.Sub, "access", refresh.Sid, newID(), now, now + accessSeconds}
	return struct {
		AccessToken      string `json:"access_token"`
		RefreshToken     string `json:"refresh_token"`
		UserID           string `json:"user_id"`
		TokenType        string `json:"token_type"`
		ExpiresIn        int64  `json:"expires_in"`
		RefreshExpiresIn int64  `json:"refresh_expires_in"`
	}{s.tokens.Issue(access), s.tokens.Issue(refresh), refresh.Sub, "Bearer", accessSeconds, refresh.Exp - now}
}

func (s *service) logIn(r request) {
	var sent struct {
		ClientKey string `json:"client_key"`
	}
	if wait := s.failedLogins.Wait(r.address()); wait > 0 {
		r.ResponseWriter.Header().Set("Retry-After", fmt.Sprint(int(wait.Seconds())+1))
		r.answer(429, failure{"too_many_failures"})
		return
	}
	if json.NewDecoder(r.Body).Decode(&sent) != nil {
		r.answer(400, failure{"invalid_request"})
		return
	}
	digest := sha256.Sum256([]byte(sent.ClientKey))
	client := s.byDigest[hex.EncodeToString(digest[:])]
	if client == nil {
		s.failedLogins.Count(r.address())
		r.record("login_failed", Claims{})
		r.answer(401, failure{"invalid_client"})
		return
	}
	now := time.Now().Unix()
	session := Claims{client.ID, "refresh", newID(), newID(), now, now + refreshSeconds}
	r.record("login", session)
	r.answer(200, s.pair(session))
}

func (s *service) refresh(r request) {
	var sent struct {
		RefreshToken string `json:"refresh_token"`
	}
	if json.NewDecoder(r.Body).Decode(&sent) != nil {
		r.answer(400, failure{"invalid_request"})
		return
	}
	claims, err := s.tokens.Verify("refresh", sent.RefreshToken)
	if err == nil && s.byID[claims.Sub] != nil {
		successor := successorOf(claims.Jti)
		at, err := s.journal.Spend(claims, successor)
		if err == nil {
			r.record("refreshed", claims)
			r.answer(200, s.pair(Claims{claims.Sub, "refresh", claims.Sid, successor, at.Unix(), claims.Exp}))
			return
		}
		r.record("refresh_refused", claims)
	}
	r.answer(401, failure{"invalid_grant"})
}

func (s *service) logOut(r request, claims Claims) {
	s.journal.End(claims.Sid)
	r.record("logged_out", claims)
	r.answer(200, map[string]string{"message": "Logged out."})
}

func (s *service) secureData(r request, claims Claims) {
	r.answer(200, struct {
		Message string `json:"message"`
		UserID  string `json:"user_id"`
	}{"This is what the token opens.", claims.Sub})
}

func (s *service) me(r request, claims Claims) {
	client := s.byID[claims.Sub]
	if client == nil {
		r.answer(401, failure{"invalid_token"})
		return
	}
	r.answer(200, struct {
		UserID         string   `json:"user_id"`
		Name           string   `json:"name"`
		Scopes         []string `json:"scopes"`
		CreatedAt      int64    `json:"created_at"`
		SessionID      string   `json:"session_id"`
		TokenExpiresAt int64    `json:"token_expires_at"`
	}{client.ID, client.Name, client.Scopes, client.CreatedAt, claims.Sid, claims.Exp})
}
