package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

const grace = 10 * time.Second

var (
	errEnded  = errors.New("ended session")
	errReused = errors.New("reused")
)

// Journal remembers what is spent and ended, in memory and as lines of a file. Whoever has changed something waits
// until its line is on the disk; all who wait share one fsync.
type Journal struct {
	lock    sync.RWMutex
	spent   map[string]time.Time // by the `jti` of a refresh token
	ended   map[string]bool      // by the `sid` of a session
	waiting chan entry
}

type entry struct {
	line string
	done chan struct{}
}

// OpenJournal reads what the file holds, and goes on writing it.
func OpenJournal(path string) (*Journal, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	journal := &Journal{
		spent: map[string]time.Time{}, ended: map[string]bool{}, waiting: make(chan entry, 1024),
	}
	for lines := bufio.NewScanner(file); lines.Scan(); {
		journal.replay(lines.Text())
	}
	go journal.write(file)
	return journal, nil
}

func (journal *Journal) replay(line string) {
	var kind, id string
	var at int64
	if count, _ := fmt.Sscan(line, &kind, &id, &at); count == 3 && kind == "spent" {
		journal.spent[id] = time.UnixMilli(at)
	} else if kind == "ended" {
		journal.ended[id] = true
	}
}

func (journal *Journal) write(file *os.File) {
	for first := range journal.waiting {
		batch := []entry{first}
		for len(journal.waiting) > 0 {
			batch = append(batch, <-journal.waiting)
		}
		var text bytes.Buffer
		for _, each := range batch {
			text.WriteString(each.line)
		}
		if _, err := file.Write(text.Bytes()); err != nil {
			panic(err) // nobody may be told that it was written
		}
		if err := file.Sync(); err != nil {
			panic(err)
		}
		for _, each := range batch {
			close(each.done)
		}
	}
}

// commit returns once the line, and whatever was written before, is on the disk.
func (journal *Journal) commit(line string) {
	done := make(chan struct{})
	journal.waiting <- entry{line, done}
	<-done
}

// IsEnded tells whether the session is over.
func (journal *Journal) IsEnded(sid string) bool {
	journal.lock.RLock()
	defer journal.lock.RUnlock()
	return journal.ended[sid]
}

// End ends a session.
func (journal *Journal) End(sid string) {
	journal.lock.Lock()
	journal.ended[sid] = true
	journal.lock.Unlock()
	journal.commit("ended " + sid + " 0\n")
}

// Spend spends a refresh token once, and says when that was: a repeat within the grace is told the same. Any other
// use of a spent token ends the session.
func (journal *Journal) Spend(claims Claims, successor string) (time.Time, error) {
	at, line, err := journal.spend(claims, successor)
	journal.commit(line)
	return at, err
}

func (journal *Journal) spend(claims Claims, successor string) (time.Time, string, error) {
	now := time.Now().Truncate(time.Millisecond)
	journal.lock.Lock()
	defer journal.lock.Unlock()
	if journal.ended[claims.Sid] {
		return now, "", errEnded
	}
	at, isSpent := journal.spent[claims.Jti]
	if !isSpent {
		journal.spent[claims.Jti] = now
		return now, fmt.Sprintf("spent %s %d\n", claims.Jti, now.UnixMilli()), nil
	}
	if _, successorIsSpent := journal.spent[successor]; now.Sub(at) <= grace && !successorIsSpent {
		return at, "", nil
	}
	journal.ended[claims.Sid] = true
	return now, "ended " + claims.Sid + " 0\n", errReused
}
