-- A dump can be restored: pg_restore empties search_path, and PL/pgSQL looks up the
-- functions it calls when it runs. Without this, the words of names, which the server
-- makes anew while rows are copied in, end the restore with the first study.

ALTER FUNCTION name_words(text, text, text) SET search_path FROM CURRENT;
