// The ceiling: our promises in Go, with its standard library alone and nothing else to do. It is one process on one
// machine: its clients are in memory from the start, and what is spent and ended is in memory and in a journal.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"time"
)

var saneID = regexp.MustCompile(`^[\w.-]{1,64}$`)

// Client is as clients.json has it.
type Client struct {
	ID        string   `json:"id"`
	Name      string   `json:"name"`
	Scopes    []string `json:"scopes"`
	CreatedAt int64    `json:"created_at"`
	Digest    string   `json:"digest"`
}

type service struct {
	tokens       *Tokens
	journal      *Journal
	failedLogins *FailedLogins
	byID         map[string]*Client
	byDigest     map[string]*Client
	requests     atomic.Int64
	idPrefix     string
}

// request is one under way: what it needs to answer and to write its line of the audit trail.
type request struct {
	*http.Request
	http.ResponseWriter
	id string
}

type line struct {
	Time      string `json:"time"`
	Event     string `json:"event"`
	RequestID string `json:"request_id"`
	Address   string `json:"address"`
	Client    string `json:"client,omitempty"`
	Session   string `json:"session,omitempty"`
}

type failure struct {
	Error string `json:"error"`
}

func (r request) address() string {
	address, _, _ := net.SplitHostPort(r.RemoteAddr)
	return address
}

func (r request) record(event string, claims Claims) {
	now := time.Now().UTC().Format("2006-01-02T15:04:05.000Z07:00")
	text, _ := json.Marshal(line{now, event, r.id, r.address(), claims.Sub, claims.Sid})
	os.Stdout.Write(append(text, '\n'))
}

func (r request) answer(status int, body any) {
	text, _ := json.Marshal(body)
	head := r.ResponseWriter.Header()
	head["Content-Type"] = []string{"application/json"}
	head["Cache-Control"] = []string{"no-store"}
	head["X-Content-Type-Options"] = []string{"nosniff"}
	head["X-Request-Id"] = []string{r.id}
	r.WriteHeader(status)
	r.ResponseWriter.Write(text)
}

// on answers one path by one method.
func (s *service) on(method, path string, handle func(request)) {
	http.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get("X-Request-Id")
		if !saneID.MatchString(id) {
			id = fmt.Sprintf("%s-%x", s.idPrefix, s.requests.Add(1))
		}
		if r.Method != method {
			request{r, w, id}.answer(405, failure{"method_not_allowed"})
			return
		}
		handle(request{r, w, id})
	})
}

// protected answers whoever shows a good access token of a session that goes on.
func (s *service) protected(handle func(request, Claims)) func(request) {
	return func(r request) {
		scheme, token, _ := strings.Cut(r.Request.Header.Get("Authorization"), " ")
		if strings.EqualFold(scheme, "bearer") {
			claims, err := s.tokens.Verify("access", token)
			if err == nil && !s.journal.IsEnded(claims.Sid) {
				handle(r, claims)
				return
			}
		}
		r.answer(401, failure{"invalid_token"})
	}
}

func readClients(path string) (byID, byDigest map[string]*Client, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	var clients []*Client
	if err = json.Unmarshal(text, &clients); err != nil {
		return nil, nil, err
	}
	byID, byDigest = map[string]*Client{}, map[string]*Client{}
	for _, client := range clients {
		byID[client.ID], byDigest[client.Digest] = client, client
	}
	return byID, byDigest, nil
}

func main() {
	byID, byDigest, err := readClients("clients.json")
	if err != nil {
		log.Fatal(err)
	}
	journal, err := OpenJournal("journal.txt")
	if err != nil {
		log.Fatal(err)
	}
	s := &service{
		tokens:       NewTokens(os.Getenv("SECRET_KEY")),
		journal:      journal,
		failedLogins: newFailedLogins(30, time.Minute),
		byID:         byID,
		byDigest:     byDigest,
		idPrefix:     newID()[:12],
	}
	s.on("POST", "/login", s.logIn)
	s.on("POST", "/refresh-token", s.refresh)
	s.on("POST", "/logout", s.protected(s.logOut))
	s.on("GET", "/secure-data", s.protected(s.secureData))
	s.on("GET", "/me", s.protected(s.me))
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil))
}
