-- +goose Up
-- +goose StatementBegin
CREATE TABLE kept (id int);
INSERT INTO kept VALUES (1);
-- +goose StatementEnd

-- +goose Down
-- +goose StatementBegin
DROP TABLE kept;
-- +goose StatementEnd
