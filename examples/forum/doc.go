// Forum is the site that the lab balances: a small forum whose web servers share all that they know. Posts, names and
// sessions are in PostgreSQL, attachments on an FTP server, and memcached has copies of sessions and of parts of pages.
// So any web server can answer any request, and a user notices nothing when another one does.
//
// Each of the three may be away. Without memcached the forum goes on, slower: everything is asked of the database.
// Without the FTP server an upload is refused with a sentence, and the text that came with it is back in the form.
// Without the database pages that memcached has are still shown, and the rest says what is wrong.
//
// It is a demonstration, in a module of its own, and no part of the vipd binary.
package main
