// Command walcheck reads a write-ahead log with etcd's own package and prints what it holds, one
// JSON object a line: the metadata, the usable snapshots, the hard state, the entries above the
// newest snapshot or, with -all, above none.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.uber.org/zap"
)

type line struct {
	Kind   string   `json:"kind"`
	Index  uint64   `json:"index,omitempty"`
	Term   uint64   `json:"term,omitempty"`
	Vote   uint64   `json:"vote,omitempty"`
	Commit uint64   `json:"commit,omitempty"`
	Type   int32    `json:"type,omitempty"`
	Voters []uint64 `json:"voters,omitempty"`
	Data   string   `json:"data,omitempty"`
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: walcheck DIR [-all]")
		os.Exit(2)
	}
	if err := check(os.Args[1], len(os.Args) > 2 && os.Args[2] == "-all"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func check(dir string, all bool) error {
	log := zap.NewNop()
	snapshots, err := wal.ValidSnapshotEntries(log, dir)
	if err != nil {
		return err
	}
	start := walpb.Snapshot{}
	if !all && len(snapshots) > 0 {
		start = snapshots[len(snapshots)-1]
	}
	if _, err = wal.Verify(log, dir, start); err != nil {
		return err
	}
	// Opened for writing: that is how a member opens it, and the strictest way to read it.
	opened, err := wal.Open(log, dir, start)
	if err != nil {
		return err
	}
	defer opened.Close()
	metadata, state, entries, err := opened.ReadAll()
	if err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	lines := []line{{Kind: "metadata", Data: fmt.Sprintf("%x", metadata)}}
	for _, snapshot := range snapshots {
		next := line{Kind: "snapshot", Index: snapshot.Index, Term: snapshot.Term}
		if snapshot.ConfState != nil {
			next.Voters = snapshot.ConfState.Voters
		}
		lines = append(lines, next)
	}
	lines = append(lines, line{Kind: "state", Term: state.Term, Vote: state.Vote, Commit: state.Commit})
	for _, entry := range entries {
		lines = append(lines, line{
			Kind: "entry", Index: entry.Index, Term: entry.Term, Type: int32(entry.Type),
			Data: fmt.Sprintf("%x", entry.Data),
		})
	}
	for _, next := range lines {
		if err := out.Encode(next); err != nil {
			return err
		}
	}
	return nil
}
