INSERT INTO kept VALUES ('ok');
