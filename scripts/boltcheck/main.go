// Command boltcheck reads and writes database files with bbolt itself.
//
//	boltcheck read FILE                      checks a file and prints its rows
//	boltcheck write [-page N] [-synced] FILE continues or creates a file with the transactions on
//	                                         standard input, one a line: a list of rows
//
// Rows are JSON objects: bucket, key and value, the last two in hexadecimal; a row without value is
// deleted. Buckets are created as they are named; `key` is filled as etcd fills it. `read` prints a
// row a line, then the size; `write` what etcd would report after each transaction: the size, and
// how much of it is in use.
package main

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"go.etcd.io/bbolt"
)

// Somebody else has the file open: that is not worth waiting for.
const lockTimeout = time.Second

type row struct {
	Bucket string  `json:"bucket"`
	Key    string  `json:"key"`
	Value  *string `json:"value"`
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) > 0 {
		flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
		page := flags.Int("page", 4096, "page size of a new file")
		synced := flags.Bool("synced", false, "write the list of free pages")
		ordered := flags.Bool("ordered", false, "take the first free pages that fit, not any")
		if err := flags.Parse(args[1:]); err != nil {
			return err
		}
		freelist := bbolt.FreelistMapType
		if *ordered {
			freelist = bbolt.FreelistArrayType
		}
		switch {
		case args[0] == "read" && flags.NArg() == 1:
			return read(flags.Arg(0))
		case args[0] == "write" && flags.NArg() == 1:
			return write(flags.Arg(0), &bbolt.Options{
				PageSize: *page, NoFreelistSync: !*synced, FreelistType: freelist,
				Timeout: lockTimeout,
			})
		}
	}
	return errors.New("usage: boltcheck read|write [-page N] [-synced] [-ordered] FILE")
}

func read(path string) error {
	db, err := bbolt.Open(path, 0, &bbolt.Options{
		ReadOnly: true, PreLoadFreelist: true, Timeout: lockTimeout,
	})
	if err != nil {
		return err
	}
	defer db.Close()
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	lines := json.NewEncoder(out)
	return db.View(func(tx *bbolt.Tx) error {
		var found error
		for finding := range tx.Check() {
			found = errors.Join(found, finding)
		}
		if found != nil {
			return found
		}
		err := tx.ForEach(func(name []byte, bucket *bbolt.Bucket) error {
			return bucket.ForEach(func(key, value []byte) error {
				text := hex.EncodeToString(value)
				return lines.Encode(row{string(name), hex.EncodeToString(key), &text})
			})
		})
		if err != nil {
			return err
		}
		return lines.Encode(map[string]int64{"size": tx.Size()})
	})
}

func write(path string, options *bbolt.Options) error {
	db, err := bbolt.Open(path, 0o600, options)
	if err != nil {
		return err
	}
	in := json.NewDecoder(bufio.NewReader(os.Stdin))
	out := json.NewEncoder(os.Stdout)
	for in.More() {
		var rows []row
		if err := in.Decode(&rows); err != nil {
			return err
		}
		if err := db.Update(func(tx *bbolt.Tx) error { return apply(tx, rows) }); err != nil {
			return err
		}
		var size int64
		err := db.View(func(tx *bbolt.Tx) error {
			size = tx.Size()
			return nil
		})
		if err != nil {
			return err
		}
		free := int64(db.Stats().FreePageN) * int64(db.Info().PageSize)
		if err := out.Encode(map[string]int64{"size": size, "in_use": size - free}); err != nil {
			return err
		}
	}
	return db.Close()
}

func apply(tx *bbolt.Tx, rows []row) error {
	for _, row := range rows {
		bucket, err := tx.CreateBucketIfNotExists([]byte(row.Bucket))
		if err != nil {
			return err
		}
		key, err := hex.DecodeString(row.Key)
		if err != nil {
			return err
		}
		if row.Value == nil {
			err = bucket.Delete(key)
		} else {
			var value []byte
			if row.Bucket == "key" {
				bucket.FillPercent = 0.9
			}
			if value, err = hex.DecodeString(*row.Value); err == nil {
				err = bucket.Put(key, value)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}
